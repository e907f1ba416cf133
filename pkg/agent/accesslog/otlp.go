package accesslog

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weft-mesh/weft/pkg/proxy"
)

// Numbers of fields in opentelemetry-proto 1.x.
const (
	requestResourceLogs = 1 // ExportLogsServiceRequest
	resourceLogsOf      = 1 // ResourceLogs: the resource
	resourceLogsScopes  = 2 // ResourceLogs
	resourceAttributes  = 1 // Resource
	scopeLogsRecords    = 2 // ScopeLogs
	recordBody          = 5 // LogRecord
	keyValueKey         = 1
	keyValueValue       = 2
	anyValueString      = 1
)

var errMalformed = errors.New("not an export of logs")

// decode reads an ExportLogsServiceRequest and hands over the lines of each
// resource with the sink that it names. Lines are parts of body.
//
// A parser of the generated types would refuse a batch for one byte that is not
// UTF-8, and bytes of headers are whatever a caller sends: his line and
// everybody's beside it would be gone.
func decode(body []byte, take func(sink string, lines [][]byte)) error {
	return fields(body, func(n protowire.Number, resourceLogs []byte) error {
		if n != requestResourceLogs {
			return nil
		}
		var (
			sink  string
			lines [][]byte
		)
		err := fields(resourceLogs, func(n protowire.Number, b []byte) error {
			switch n {
			case resourceLogsOf:
				return fields(b, func(n protowire.Number, attribute []byte) error {
					if n != resourceAttributes {
						return nil
					}
					key, value, err := keyValue(attribute)
					if key == proxy.LogSinkAttribute {
						sink = string(value)
					}
					return err
				})
			case resourceLogsScopes:
				return fields(b, func(n protowire.Number, record []byte) error {
					if n != scopeLogsRecords {
						return nil
					}
					line, err := bodyOf(record)
					lines = append(lines, line)
					return err
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		take(sink, lines)
		return nil
	})
}

func bodyOf(record []byte) (line []byte, err error) {
	err = fields(record, func(n protowire.Number, b []byte) error {
		if n != recordBody {
			return nil
		}
		line, err = text(b)
		return err
	})
	return line, err
}

func keyValue(b []byte) (key string, value []byte, err error) {
	err = fields(b, func(n protowire.Number, b []byte) error {
		switch n {
		case keyValueKey:
			key = string(b)
		case keyValueValue:
			value, err = text(b)
			return err
		}
		return nil
	})
	return key, value, err
}

// text reads an AnyValue that is a string; others are nil.
func text(b []byte) (s []byte, err error) {
	err = fields(b, func(n protowire.Number, b []byte) error {
		if n == anyValueString {
			s = b
		}
		return nil
	})
	return s, err
}

// fields yields the fields of a message that have a length: messages, strings.
func fields(b []byte, yield func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		if kind != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(n, kind, b); size < 0 {
				return errMalformed
			}
			b = b[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(b)
		if size < 0 {
			return errMalformed
		}
		b = b[size:]
		if err := yield(n, value); err != nil {
			return err
		}
	}
	return nil
}
