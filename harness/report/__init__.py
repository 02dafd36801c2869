"""From what cells leave in reports/ to what people and machines read."""
