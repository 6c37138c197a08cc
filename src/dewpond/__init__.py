"""Dewpond: a commerce pool that belongs to its merchant and speaks WeChat Pay's wire."""

__version__ = "0.1.0"
