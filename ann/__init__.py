"""Asymmetric Non-local Neural Networks and their relatives; importing this costs nothing."""
