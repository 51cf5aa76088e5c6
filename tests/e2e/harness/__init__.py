"""What the end-to-end tests are made of: Go targets, the daemon, and a decoder for profiles."""
