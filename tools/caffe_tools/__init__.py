"""What a person runs on logs, nets and weights; the scripts in tools/ and the commands use it."""
