"""Items of many requests, collected into batches."""
