"""Networks that look at images: recognition, detection, upscaling, matching."""
