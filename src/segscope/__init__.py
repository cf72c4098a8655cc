"""segscope: train a semantic-segmentation model on COCO and see what it learned."""

__version__ = "0.1.0"
