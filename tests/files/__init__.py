"""Tests of `omnigen2.files`."""
