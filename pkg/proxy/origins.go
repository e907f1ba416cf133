package proxy

import (
	"reflect"
	"slices"
	"sync"
)

var originType = reflect.TypeFor[Origin]()

// Origins are the policies that parts of a plan name as where their values come
// from, each once, in the order of the fields. So what plans learn to say is
// found here without a word about it.
func Origins(parts ...any) (all []Origin) {
	for _, p := range parts {
		walk(reflect.ValueOf(p), func(o Origin) bool {
			if o != (Origin{}) && !slices.Contains(all, o) {
				all = append(all, o)
			}
			return true
		})
	}
	return all
}

// Names tells whether a part of a plan names o as where a value comes from.
func Names(part any, o Origin) bool {
	return !walk(reflect.ValueOf(part), func(other Origin) bool { return other != o })
}

// walk calls found for every origin in v until it returns false, and tells
// whether it went to the end.
func walk(v reflect.Value, found func(Origin) bool) bool {
	if !v.IsValid() || !holds(v.Type()) {
		return true
	}
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil() || walk(v.Elem(), found)
	case reflect.Slice:
		for i := range v.Len() {
			if !walk(v.Index(i), found) {
				return false
			}
		}
	case reflect.Struct:
		if v.Type() == originType {
			return found(v.Interface().(Origin))
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && !walk(v.Field(i), found) {
				return false
			}
		}
	default: // holds says that there is nothing else
	}
	return true
}

// holding remembers which types have an origin somewhere in them: a plan of a
// large mesh is mostly addresses and names.
var holding sync.Map // reflect.Type -> bool

func holds(t reflect.Type) bool {
	if known, ok := holding.Load(t); ok {
		return known.(bool)
	}
	is := false
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		is = holds(t.Elem())
	case reflect.Struct:
		is = t == originType
		for i := 0; i < t.NumField() && !is; i++ {
			is = t.Field(i).IsExported() && holds(t.Field(i).Type)
		}
	default: // no map of a plan has one
	}
	holding.Store(t, is)
	return is
}
