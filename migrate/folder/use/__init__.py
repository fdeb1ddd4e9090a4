"""What is done with a folder of a converted model: run on pictures and texts, brought to the Hub."""
