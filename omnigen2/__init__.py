"""Independent, typed PyTorch components of the OmniGen2 model family."""
