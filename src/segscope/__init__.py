"""segscope: train a semantic-segmentation model on COCO and see what it learned."""
