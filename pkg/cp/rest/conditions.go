package rest

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/pkg/cp/store"
	"github.com/weft-mesh/weft/pkg/mesh"
)

// A manner is how a client wants something to be written.
type manner struct {
	dry     bool         // only tell what would change
	lenient bool         // leave out fields that nobody knows
	at      mesh.Version // only if this is stored; 0: whatever is
	create  bool         // only if nothing is stored
}

// howToWrite reads what a PUT or a DELETE says of itself: the parameters dryRun
// and lenient, the headers If-Match and If-None-Match.
func (s *Server) howToWrite(c call) (m manner, err error) {
	values := c.URL.Query()
	if m.dry, err = yesOrNo(values, "dryRun"); err != nil {
		return m, err
	}
	if m.lenient, err = yesOrNo(values, "lenient"); err != nil {
		return m, err
	}
	if s.ReadOnly && !m.dry {
		return m, fmt.Errorf("%w: this control plane takes no writes over this interface, see its setting apiReadOnly", errReadOnly)
	}
	if text := c.Header.Get("If-Match"); text != "" && text != "*" {
		if m.at, err = versionOf(text); err != nil {
			return m, wrong(errQuery, "If-Match", "%s", err)
		}
	}
	switch text := c.Header.Get("If-None-Match"); {
	case text == "":
	case text != "*" || m.at != 0:
		return m, wrong(errQuery, "If-None-Match", `of a write must be "*", alone: it is written only if there is none yet`)
	default:
		m.create = true
	}
	return m, nil
}

// told says of a conflict that it is with what the client itself has set.
func (m manner) told(err error) error {
	if errors.Is(err, store.ErrConflict) && (m.at != 0 || m.create) {
		return fmt.Errorf("%w: somebody else wrote it; read it again, and send the ETag of what you read", errStale)
	}
	return err
}

func yesOrNo(values url.Values, key string) (bool, error) {
	switch text := values.Get(key); {
	case !values.Has(key), text == "false":
		return false, nil
	case text == "true", text == "": // "?dryRun" alone says it, too
		return true, nil
	default:
		return false, wrong(errQuery, key, "must be true or false, is %.32q", text)
	}
}

// etag names a version of a resource; "" for none.
func etag(v mesh.Version) string {
	if v == 0 {
		return ""
	}
	return `"` + strconv.FormatInt(int64(v), 10) + `"`
}

func versionOf(etag string) (mesh.Version, error) {
	text, ok := strings.CutPrefix(etag, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	v, err := strconv.ParseInt(text, 10, 64)
	if !ok || !closed || err != nil || v <= 0 {
		return 0, fmt.Errorf("%.64q is no ETag of this control plane", etag)
	}
	return mesh.Version(v), nil
}
