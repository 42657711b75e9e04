"""The commands of `omnigen2`, one file each: a `main` takes what follows the command's name, over typed settings."""
