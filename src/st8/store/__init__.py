"""Where objects, revisions and refs live: one module a store."""
