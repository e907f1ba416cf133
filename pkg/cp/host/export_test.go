package host

// Seats counts the streams of hosts that were let in.
func (a *Auth) Seats() (n int) {
	a.seats.mu.Lock()
	defer a.seats.mu.Unlock()
	for _, all := range a.seats.taken {
		n += len(all)
	}
	return n
}
