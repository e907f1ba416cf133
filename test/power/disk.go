//go:build machines

package power

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// A disk is served over NBD, and keeps what was written to it apart until it is
// told to flush, as a disk with a cache of its own does. Source of the protocol:
// NetworkBlockDevice/nbd, doc/proto.md.
type disk struct {
	lies bool // it says that it has flushed, and has not

	mu      sync.Mutex
	now     []byte // what is read
	durable []byte // what is there when the power is back
	cache   []piece
	flushes int
	left    int    // writes until the power goes; 0: it does not
	gone    func() // is called then
}

// A piece is one write that was not flushed yet.
type piece struct {
	at   int64
	data []byte
}

// sector is the most that a disk writes as one, in bytes.
const sector = 512

func newDisk(image []byte) *disk { return &disk{now: image, durable: append([]byte(nil), image...)} }

// lose ends the power: of what was not flushed each sector is there or not, by
// chance. It returns how many were, and were not.
func (d *disk) lose(chance *rand.Rand) (kept, lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// A cache is written in any order, and mostly none or all of it is by then.
	likely := chance.Float64()
	for _, p := range d.cache {
		for i := 0; i < len(p.data); i += sector {
			if chance.Float64() >= likely {
				lost++
				continue
			}
			kept++
			copy(d.durable[p.at+int64(i):], p.data[i:min(i+sector, len(p.data))])
		}
	}
	d.cache = nil
	copy(d.now, d.durable)
	return kept, lost
}

// arm has the power go in the midst of what is written, after so many writes.
func (d *disk) arm(writes int, gone func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.gone = writes, gone
}

var errPower = errors.New("the power went")

func (d *disk) write(at int64, data []byte, through bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		if d.left--; d.left == 0 {
			d.cache = append(d.cache, piece{at, data}) // it was on its way
			d.gone()
			return errPower
		}
	}
	copy(d.now[at:], data)
	if through && !d.lies {
		copy(d.durable[at:], data)
		return nil
	}
	d.cache = append(d.cache, piece{at, data})
	return nil
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
	if d.lies {
		return
	}
	for _, p := range d.cache {
		copy(d.durable[p.at:], p.data)
	}
	d.cache = nil
}

// Numbers of the protocol.
const (
	magicNBD, magicOption, magicReply = 0x4e42444d41474943, 0x49484156454f5054, 0x3e889045565a9
	magicRequest, magicAnswer         = 0x25609513, 0x67446698
	fixedNewstyle, noZeroes           = 1, 2
	optionExport, optionAbort, optGo  = 1, 2, 7
	replyAck, replyInfo               = 1, 3
	replyUnsupported                  = 1<<31 | 1
	hasFlags, sendFlush, sendFUA      = 1, 4, 8
	commandRead, commandWrite         = 0, 1
	commandGone, commandFlush         = 2, 3
	flagFUA                           = 1
)

// serve answers one client until it goes.
func (d *disk) serve(c net.Conn) error {
	defer c.Close()
	if err := d.shake(c); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	for {
		var q struct {
			Magic       uint32
			Flags, Type uint16
			Handle      uint64
			Offset      int64
			Length      uint32
		}
		if err := binary.Read(c, binary.BigEndian, &q); err != nil || q.Type == commandGone {
			return nil //nolint:nilerr // it was killed
		}
		if q.Magic != magicRequest || q.Offset < 0 || q.Offset+int64(q.Length) > int64(len(d.now)) {
			return fmt.Errorf("request %+v makes no sense", q)
		}
		var out []byte
		switch q.Type {
		case commandRead:
			d.mu.Lock()
			out = append(out, d.now[q.Offset:q.Offset+int64(q.Length)]...)
			d.mu.Unlock()
		case commandWrite:
			data := make([]byte, q.Length)
			if _, err := io.ReadFull(c, data); err != nil {
				return nil //nolint:nilerr // it was killed
			}
			if d.write(q.Offset, data, q.Flags&flagFUA != 0) != nil {
				return nil
			}
		case commandFlush:
			d.flush()
		default:
			return fmt.Errorf("request %+v was not offered", q)
		}
		answer := binary.BigEndian.AppendUint32(nil, magicAnswer)
		answer = binary.BigEndian.AppendUint32(answer, 0)
		answer = binary.BigEndian.AppendUint64(answer, q.Handle)
		if _, err := c.Write(append(answer, out...)); err != nil {
			return nil //nolint:nilerr // it was killed
		}
	}
}

func (d *disk) shake(c net.Conn) error {
	hello := binary.BigEndian.AppendUint64(nil, magicNBD)
	hello = binary.BigEndian.AppendUint64(hello, magicOption)
	hello = binary.BigEndian.AppendUint16(hello, fixedNewstyle|noZeroes)
	if _, err := c.Write(hello); err != nil {
		return err
	}
	var theirs uint32
	if err := binary.Read(c, binary.BigEndian, &theirs); err != nil {
		return err
	}
	size := binary.BigEndian.AppendUint64(nil, uint64(len(d.now)))
	size = binary.BigEndian.AppendUint16(size, hasFlags|sendFlush|sendFUA)
	for {
		var o struct {
			Magic          uint64
			Option, Length uint32
		}
		if err := binary.Read(c, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Magic != magicOption || o.Length > 1<<16 {
			return errors.New("that is no option")
		}
		if _, err := io.CopyN(io.Discard, c, int64(o.Length)); err != nil {
			return err
		}
		reply := func(kind uint32, data []byte) error {
			m := binary.BigEndian.AppendUint64(nil, magicReply)
			m = binary.BigEndian.AppendUint32(m, o.Option)
			m = binary.BigEndian.AppendUint32(m, kind)
			m = binary.BigEndian.AppendUint32(m, uint32(len(data)))
			_, err := c.Write(append(m, data...))
			return err
		}
		switch o.Option {
		case optionExport:
			_, err := c.Write(size)
			return err
		case optGo:
			return errors.Join(reply(replyInfo, append([]byte{0, 0}, size...)), reply(replyAck, nil))
		case optionAbort:
			return errors.Join(reply(replyAck, nil), errors.New("the client gave up"))
		default:
			if err := reply(replyUnsupported, nil); err != nil {
				return err
			}
		}
	}
}
