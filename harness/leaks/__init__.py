"""What a lane does not see: mutants that stay green in it."""
