
# withdraw runs when the services have stopped and the files are still there.
withdraw() { :; }
