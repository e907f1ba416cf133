//go:build linux

package route

// Texts are what Mend and DeleteStale would do, in ip's words, a line each.
func (p Plan) Texts() (mend, deleteStale []string) {
	for _, prefix := range p.missing {
		mend = append(mend, p.metric.Text("add", prefix)+"\n")
	}
	for _, prefix := range p.wrong {
		mend = append(mend, p.metric.Text("replace", prefix)+"\n")
	}
	for _, prefix := range p.stale {
		deleteStale = append(deleteStale, p.metric.Text("del", prefix)+"\n")
	}
	return mend, deleteStale
}
