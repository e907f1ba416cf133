package fakeenvoy

import (
	"bytes"
	"encoding/binary"
	"io"

	"google.golang.org/protobuf/proto"
)

// Script is messages as fuzzing keeps them, each with its length before it.
func Script(ms ...proto.Message) (b []byte) {
	for _, m := range ms {
		body, err := proto.Marshal(m)
		if err != nil {
			panic(err)
		}
		b = append(binary.AppendUvarint(b, uint64(len(body))), body...)
	}
	return b
}

// NextOf reads a message of a script. What is none is the end, io.EOF, as gRPC
// would not pass it on.
func NextOf(script *bytes.Reader, m proto.Message) error {
	n, err := binary.ReadUvarint(script)
	if err != nil || n > uint64(script.Len()) {
		return io.EOF
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(script, body); err != nil || proto.Unmarshal(body, m) != nil {
		return io.EOF
	}
	return nil
}
