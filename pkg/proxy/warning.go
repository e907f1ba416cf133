package proxy

// A Warning is something that could not be done as it was asked, in words for
// the person who asked.
type Warning struct {
	Part string `json:"part"` // of which resource and where, `networking.inbound[0]`
	Text string `json:"text"`
}
