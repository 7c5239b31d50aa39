"""Four complete examples: data, training as one would do it anyway, one call of `pack`, and events scored."""
