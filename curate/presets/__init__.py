"""Recipes and step lists by name, as package data."""
