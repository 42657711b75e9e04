"""The commands of `omnigen2` that use a model: each module has a `main` that takes what follows the command's name."""
