"""Base policies: imitated from demonstrations, frozen while agents fine-tune them."""
