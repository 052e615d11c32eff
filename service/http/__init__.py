"""Everything that knows HTTP: routes, errors as answers, and what they share."""
