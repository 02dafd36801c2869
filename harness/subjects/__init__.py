"""Running the contracts on stores that others wrote, and telling what came of each rule."""
