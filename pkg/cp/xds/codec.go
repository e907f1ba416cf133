package xds

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers what codec falls back on
	"google.golang.org/grpc/mem"
)

// A frame is a message that is encoded already, in pieces that many messages
// share. Nothing of it is copied before gRPC writes it to a connection.
type frame struct{ pieces mem.BufferSlice }

func (f *frame) add(b []byte) {
	if len(b) > 0 {
		f.pieces = append(f.pieces, mem.SliceBuffer(b))
	}
}

// codec sends frames as they are and everything else as protobuf.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.pieces, nil
	}
	return c.CodecV2.Marshal(v)
}
