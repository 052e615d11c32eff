"""Where images and their labels come from: folders, tables, standard sets, generators."""
