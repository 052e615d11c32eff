"""Other servers of the same model, each as its users would write it: what the service is compared with."""
