"""What drives the model's performance."""
