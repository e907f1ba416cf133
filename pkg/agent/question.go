package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weft-mesh/weft/pkg/api/hostv1"
	"github.com/weft-mesh/weft/pkg/envoy"
)

// maxLine bounds a line of Envoy's configuration, in bytes. A certificate or a
// script is one.
const maxLine = 4 << 20

// answer writes what Envoy says of itself, for the control plane. Nothing that
// changes anything can be asked for, and what looks like a secret stays here.
func (w *Workload) answer(ctx context.Context, q *hostv1.Question, to io.Writer) error {
	admin := envoy.NewAdmin(w.cfg.adminSocket())
	var from io.ReadCloser
	var err error
	pass := func(to io.Writer, from io.Reader) error {
		_, err := io.Copy(to, from)
		return err
	}
	switch q.GetAbout() {
	case hostv1.Question_CONFIG_DUMP:
		from, err = admin.ReadConfigDump(ctx, q.GetEndpoints())
		pass = copyWithoutSecrets
	case hostv1.Question_STATS:
		from, err = admin.ReadStats(ctx, !q.GetAll(), q.GetJson())
	case hostv1.Question_CLUSTERS:
		from, err = admin.ReadClusters(ctx, q.GetJson())
	default:
		return fmt.Errorf("this agent knows no answer to %s: upgrade it", q.GetAbout())
	}
	if err != nil {
		return err
	}
	defer from.Close()
	return pass(to, from)
}

// copyWithoutSecrets copies line by line, so that an agent of a large mesh holds
// a line of the dump and not all of it.
func copyWithoutSecrets(to io.Writer, from io.Reader) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	var line []byte
	for {
		piece, err := lines.ReadSlice('\n')
		if len(line)+len(piece) > maxLine {
			return fmt.Errorf("a line of Envoy's configuration is longer than %d bytes", maxLine)
		}
		line = append(line, piece...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if _, err := to.Write(withoutSecrets(line)); err != nil {
			return err
		}
		line = line[:0]
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
