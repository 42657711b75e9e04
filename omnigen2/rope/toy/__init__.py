"""The experiment behind the paper's RoPE table: copy the k-th of N images."""
