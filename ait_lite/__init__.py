"""What everything else stands on, without torch: checkpoint folders on disk, and images from bytes to model input."""
