"""What is measured about published traits: replay of the past, lift, stability."""
