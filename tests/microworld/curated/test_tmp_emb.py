import torch
from omnigen2.microworld.curated import MicroEmbedder
def test_a():
    e=MicroEmbedder()([torch.zeros(3,9,12),torch.zeros(3,30,21)])
    assert e.shape[0]==2
