"""What the bot knows of each document, and how two sides' changes come together: pure, no I/O, no clock."""
