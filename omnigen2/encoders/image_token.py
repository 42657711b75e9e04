"""The learned `<|img|>`: one input and one output row of a frozen vision-language model."""

from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from omnigen2.errors import check_choice
from omnigen2.files import WeightsError, check_types, read_header

InitialRow: TypeAlias = Literal["row", "mean"]


class ImageToken(nn.Module):
    """The rows of one token as parameters of their own, so that nothing else of the model can move.

    Attached to a model, it replaces the token's embedding where the token is read and its logit where it is
    predicted. The model itself is frozen and stays bit-identical: weight decay, moments and updates see only these
    rows, which are kept in float32. With tied embeddings there is one row for both.

    Args:
        token_id: Id of `<|img|>`.
        hidden_size: Channels of the model.
        tied: Whether input and output share their row.

    Source: arXiv:2506.18871, section 2: the special token whose appearance triggers drawing.

    Example:
        >>> token = ImageToken.of(encoder.model, encoder.tokenizer.image_token_id)  # doctest: +SKIP
        >>> token.attach(encoder.model)  # doctest: +SKIP
        >>> optimizer = torch.optim.AdamW(token.parameters())  # doctest: +SKIP
    """

    def __init__(self, token_id: int, hidden_size: int, tied: bool) -> None:
        super().__init__()
        self.token_id = token_id
        self.input = nn.Parameter(torch.zeros(hidden_size))
        self.output = self.input if tied else nn.Parameter(torch.zeros(hidden_size))
        self._hooks: list[RemovableHandle] = []

    @classmethod
    def of(cls, model: nn.Module, token_id: int, initial: InitialRow = "row") -> "ImageToken":
        """Start from a language model of transformers, not yet attached to it.

        Args:
            model: The model.
            token_id: Id of `<|img|>`.
            initial: `"row"` starts from the model's own rows, `"mean"` from the mean of all rows, for a model that
                has never seen the token.

        Raises:
            ValueError: If the model has no such row.
        """
        check_choice("initial of ImageToken.of", initial, InitialRow)
        tables = _tables(model)
        rows = tables[0].shape[0]
        if not 0 <= token_id < rows:
            raise ValueError(f"token id {token_id} has no row in an embedding table of {rows}; resize it first")
        token = cls(token_id, tables[0].shape[1], tied=tables[0] is tables[1])
        with torch.no_grad():
            for row, table in zip((token.input, token.output), tables, strict=True):
                row.copy_(table[token_id] if initial == "row" else table.float().mean(0))
        return token

    @property
    def tied(self) -> bool:
        """Whether input and output share their row."""
        return self.output is self.input

    def attach(self, model: nn.Module) -> None:
        """Freeze a model and let it read and predict the token by these rows.

        Raises:
            ValueError: If it is attached already, or the model ties its embeddings otherwise.
        """
        if self._hooks:
            raise ValueError("the image token is attached to a model already; detach() it first")
        self._fits(model)
        model.requires_grad_(False)
        vlm = cast(Any, model)
        self._hooks = [
            cast(nn.Module, vlm.get_input_embeddings()).register_forward_hook(self._embed),
            cast(nn.Module, vlm.get_output_embeddings()).register_forward_hook(self._predict),
        ]

    def detach(self) -> None:
        """Give the model back as it was."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @torch.no_grad()
    def merge(self, model: nn.Module) -> None:
        """Write the rows into a model; every other number in it stays as it is."""
        self._fits(model)
        for row, table in zip((self.input, self.output), _tables(model), strict=True):
            table[self.token_id] = row.to(table)

    def save(self, path: str | Path) -> None:
        """Write the rows and the token's id into a `.safetensors` file; its folder is made."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {"input": self.input.detach().cpu().contiguous()}
        if not self.tied:
            rows["output"] = self.output.detach().cpu().contiguous()
        path.write_bytes(save(rows, metadata={"token_id": str(self.token_id)}))  # as the umask says

    @classmethod
    def load(cls, path: str | Path) -> "ImageToken":
        """Read what `save` wrote, not yet attached.

        Raises:
            WeightsError: If the file is something else.
        """
        header = read_header(Path(path))
        check_types(Path(path), header)
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            rows: dict[str, Tensor] = {name: file.get_tensor(name) for name in header}
        known = {"input"} <= set(rows) <= {"input", "output"} and metadata.get("token_id", "").isdecimal()
        if not known or len({row.shape for row in rows.values()}) > 1 or rows["input"].ndim != 1:
            raise WeightsError(
                f"{path} has tensors {sorted(rows)} and metadata {metadata}; expected a saved ImageToken"
            )
        token = cls(int(metadata["token_id"]), rows["input"].shape[0], tied="output" not in rows)
        token.load_state_dict({"input": rows["input"], "output": rows.get("output", rows["input"])})
        return token

    def _fits(self, model: nn.Module) -> None:
        table, output = _tables(model)
        if (table is output) != self.tied or table.shape[1] != self.input.shape[0] or self.token_id >= table.shape[0]:
            raise ValueError(
                f"the image token {self.token_id} has {self.input.shape[0]} channels and tied={self.tied}; the model "
                f"has a table of {tuple(table.shape)} and tied={table is output}. Train a token for this model"
            )

    def _embed(
        self, module: nn.Module, inputs: tuple[Tensor, ...], output: Float[Tensor, "*batch hidden"]
    ) -> Float[Tensor, "*batch hidden"]:
        """Replace the embedding where the token is read."""
        del module
        return torch.where((inputs[0] == self.token_id).unsqueeze(-1), self.input.to(output), output)

    def _predict(
        self, module: nn.Module, inputs: tuple[Tensor, ...], output: Float[Tensor, "*batch vocabulary"]
    ) -> Float[Tensor, "*batch vocabulary"]:
        """Replace the logit of the token."""
        del module
        logit = (inputs[0] @ self.output.to(inputs[0])).unsqueeze(-1).to(output)
        return torch.cat((output[..., : self.token_id], logit, output[..., self.token_id + 1 :]), dim=-1)


def _tables(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Input and output embedding tables; the same object when tied."""
    vlm = cast(Any, model)
    return vlm.get_input_embeddings().weight, vlm.get_output_embeddings().weight
