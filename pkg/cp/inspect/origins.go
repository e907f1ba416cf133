package inspect

import (
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/pkg/proxy"
)

var originType = reflect.TypeFor[proxy.Origin]()

// origins are the policies that a part of a plan names as where its values
// come from, each once, in the order of the fields. So what plans learn to say
// is found here without a word about it.
func origins(parts ...any) (all []proxy.Origin) {
	for _, p := range parts {
		walk(reflect.ValueOf(p), func(o proxy.Origin) {
			if o != (proxy.Origin{}) && !slices.Contains(all, o) {
				all = append(all, o)
			}
		})
	}
	return all
}

func walk(v reflect.Value, found func(proxy.Origin)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walk(v.Elem(), found)
		}
	case reflect.Slice, reflect.Array:
		if k := v.Type().Elem().Kind(); k == reflect.Uint8 || k == reflect.String {
			return
		}
		for i := range v.Len() {
			walk(v.Index(i), found)
		}
	case reflect.Struct:
		if v.Type() == originType {
			found(v.Interface().(proxy.Origin))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), found)
			}
		}
	default: // nothing else holds one
	}
}
