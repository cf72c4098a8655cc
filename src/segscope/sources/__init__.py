"""Where images and annotations come from, and which are chosen."""
