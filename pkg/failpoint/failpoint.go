// Package failpoint names the places in the product where tests have it fail:
// every durable step of a change on its way.
//
// Without the build tag failpoints At is nothing at all. With it the variable
// WEFT_FAILPOINTS says what happens where, see Parse.
package failpoint

// The places, in the order in which a change passes them.
const (
	StoreBegin   = "store.begin"   // a batch of writes is about to be written
	StoreCommit  = "store.commit"  // it is written and about to be committed
	StoreSync    = "store.sync"    // the commit comes back; error: the disk failed
	StoreNotify  = "store.notify"  // it is durable, watchers do not know, nobody was told
	StoreAck     = "store.ack"     // watchers know, the writer was not told
	FeedRead     = "feed.read"     // a watcher is about to read the change feed
	PublishApply = "publish.apply" // changes are about to become a state
	PublishBuild = "publish.build" // a proxy is about to be planned
	StreamSend   = "stream.send"   // a response is about to be sent
	StreamSent   = "stream.sent"   // it was sent
	StreamAck    = "stream.ack"    // the proxy's answer has come and was not looked at
)

// The places of a file that is replaced in one step, as keys are, of the control
// plane and of agents.
const (
	FileWrite = "file.write" // it is written beside its place, and not flushed
	FileSync  = "file.sync"  // it is flushed and about to be put in place; error: the disk failed
	FilePlace = "file.place" // it is in place, and its folder is not flushed
)

// Points lists all places.
var Points = []string{
	StoreBegin, StoreCommit, StoreSync, StoreNotify, StoreAck, FeedRead,
	PublishApply, PublishBuild, StreamSend, StreamSent, StreamAck,
	FileWrite, FileSync, FilePlace,
}
