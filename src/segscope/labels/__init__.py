"""From annotations to masks, and what is known of each image."""
