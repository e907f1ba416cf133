package proxy

import (
	"reflect"
	"slices"
)

var originType = reflect.TypeFor[Origin]()

// Origins are the policies that parts of a plan name as where their values come
// from, each once, in the order of the fields. So what plans learn to say is
// found here without a word about it.
func Origins(parts ...any) (all []Origin) {
	for _, p := range parts {
		walk(reflect.ValueOf(p), func(o Origin) {
			if o != (Origin{}) && !slices.Contains(all, o) {
				all = append(all, o)
			}
		})
	}
	return all
}

func walk(v reflect.Value, found func(Origin)) {
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
			found(v.Interface().(Origin))
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
