"""Self-attention with grouped key/value heads, normalised queries and keys, and rotary positions."""

from torch import nn
from typing_extensions import override

from omnigen2.dit.backends import AttentionBackend, Borders, attend, check_backend
from omnigen2.dit.fused import turned_norm
from omnigen2.layout import TokenStates
from omnigen2.rope import Rotation

QK_NORM_EPS = 1e-5
"""Of the query and key norms, whatever the block norms use."""


class Attention(nn.Module):
    """Multi-head self-attention inside the sequences of a packed batch, by a backend of `omnigen2.dit.attend`.

    The number of query heads divides the hidden size, that of key and value heads the number of query heads; otherwise
    it is a ValueError. It is an ImportError if the backend's package is not installed.

    Source: arXiv:2503.21758 (Lumina-Image 2.0), arXiv:2305.13245 (grouped queries).
    """

    def __init__(self, hidden_size: int, num_heads: int, num_kv_heads: int, backend: AttentionBackend = "auto") -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"hidden_size ({hidden_size}) must be a multiple of num_heads ({num_heads})")
        if num_heads % num_kv_heads:
            divisors = [number for number in range(1, num_heads + 1) if num_heads % number == 0]
            raise ValueError(
                f"num_heads ({num_heads}) must be a multiple of num_kv_heads ({num_kv_heads}); use one of {divisors}"
            )
        check_backend(backend)
        self.head_dim = hidden_size // num_heads
        self.backend: AttentionBackend = backend
        kv_size = num_kv_heads * self.head_dim
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key = nn.Linear(hidden_size, kv_size, bias=False)
        self.value = nn.Linear(hidden_size, kv_size, bias=False)
        self.query_norm = nn.RMSNorm(self.head_dim, eps=QK_NORM_EPS)
        self.key_norm = nn.RMSNorm(self.head_dim, eps=QK_NORM_EPS)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    @override
    def forward(self, states: TokenStates, rotation: Rotation, borders: Borders) -> TokenStates:
        query, key, value = (
            projection(states).unflatten(-1, (-1, self.head_dim)) for projection in (self.query, self.key, self.value)
        )
        query = turned_norm(query, self.query_norm.weight, rotation, QK_NORM_EPS)
        key = turned_norm(key, self.key_norm.weight, rotation, QK_NORM_EPS)
        return self.output(attend(query, key, value, borders, self.backend).flatten(1))
