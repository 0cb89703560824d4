"""Weights from and to the folders of Hugging Face: config.json and safetensors."""
