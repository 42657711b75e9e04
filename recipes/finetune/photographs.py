"""Write ten photographs for recipes/finetune/data.yml: python recipes/finetune/photographs.py (needs omnigen2[toy])."""

import sys
from pathlib import Path

from PIL import Image

from omnigen2.rope_toy import locate

NAMES = {
    "astronaut": "astronaut.png",
    "brick": "brick.png",
    "camera": "camera.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "galaxies": "hubble_deep_field.jpg",
    "rocket": "rocket.jpg",
}
GREY = ("cat", "coffee")

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
folder.mkdir(parents=True, exist_ok=True)
for name, file in NAMES.items():
    picture = Image.open(locate(f"skimage/data/{file}")).convert("RGB")
    picture.save(folder / f"{name}.png")
    if name in GREY:
        picture.convert("L").convert("RGB").save(folder / f"{name}_grey.png")
print(f"wrote {len(NAMES) + len(GREY)} pictures to {folder}")
