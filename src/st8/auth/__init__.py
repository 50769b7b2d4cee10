"""Who asks, and what they may: tokens, certificates, identity providers, policies."""
