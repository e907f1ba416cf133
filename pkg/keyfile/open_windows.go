package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// private is the access list of what is made here, inherited by what is made
// beneath: all rights for the system and administrators, none for others,
// whatever the folder above says. Who makes it and is neither is added. In words
// of SDDL.
const private = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"

// Rights of an access list by which others could read what is in a file or
// folder, and by which they could change it or let themselves in.
const (
	deleteChild = 0x40 // FILE_DELETE_CHILD, by winnt.h

	reading = windows.FILE_READ_DATA | windows.GENERIC_READ | windows.GENERIC_ALL
	writing = windows.FILE_WRITE_DATA | windows.FILE_APPEND_DATA | windows.GENERIC_WRITE | windows.GENERIC_ALL |
		deleteChild | windows.DELETE | windows.WRITE_DAC | windows.WRITE_OWNER
)

// openNoFollow opens for reading what a path names; a link is refused.
func openNoFollow(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		_ = f.Close()
		return nil, fs.ErrInvalid
	}
	return f, nil
}

func self() (*windows.SID, error) {
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("find the user of this process: %w", err)
	}
	return user.User.Sid, nil
}

// privately is private for this process.
func privately() (*windows.SECURITY_DESCRIPTOR, error) {
	administrators, err := windows.CreateWellKnownSid(windows.WinBuiltinAdministratorsSid)
	if err != nil {
		return nil, err
	}
	list := private
	// What an administrator makes by join, the service has to find its own.
	if is, err := windows.Token(0).IsMember(administrators); err != nil || !is {
		me, err := self()
		if err != nil {
			return nil, err
		}
		list += fmt.Sprintf("(A;OICI;FA;;;%s)", me)
	}
	return windows.SecurityDescriptorFromString(list)
}

// makeDir makes a folder, and those above it that are missing, for their owner,
// administrators and the system alone.
func makeDir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if above := filepath.Dir(path); above != path {
		if err := makeDir(above); err != nil {
			return err
		}
	}
	list, err := privately()
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	with := &windows.SecurityAttributes{SecurityDescriptor: list}
	with.Length = uint32(unsafe.Sizeof(*with))
	if err := windows.CreateDirectory(name, with); err != nil && !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return &fs.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// shut keeps others off a file, whatever its folder says.
func shut(path string) error {
	list, err := privately()
	if err != nil {
		return err
	}
	dacl, _, err := list.DACL()
	if err != nil {
		return err
	}
	err = windows.SetNamedSecurityInfo(path, windows.SE_FILE_OBJECT,
		windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
	if err != nil {
		return fmt.Errorf("keep others off %s: %w", path, err)
	}
	return nil
}

// check reads the access list: mode bits say nothing here. forbidden is what
// others may not, in mode bits.
func check(path string, info fs.FileInfo, forbidden fs.FileMode, _ string) error {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return fmt.Errorf("read the access list of %s: %w", path, err)
	}
	me, err := self()
	if err != nil {
		return err
	}
	trusted := func(sid *windows.SID) bool {
		return sid.Equals(me) || sid.IsWellKnown(windows.WinLocalSystemSid) || sid.IsWellKnown(windows.WinBuiltinAdministratorsSid) ||
			sid.IsWellKnown(windows.WinCreatorOwnerRightsSid)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return fmt.Errorf("read the owner of %s: %w", path, err)
	}
	if !trusted(owner) {
		return fmt.Errorf("%s belongs to %s and not to the user of this process (%s): change its owner or run as its owner: %w",
			path, nameOf(owner), nameOf(me), ErrExposed)
	}
	loose := func(who string, off *windows.SID) error {
		inherit := ""
		if info.IsDir() {
			inherit = "(OI)(CI)"
		}
		return fmt.Errorf("%s lets %s in: run `icacls \"%[1]s\" /inheritance:r /remove:g *%[3]s /grant:r *S-1-5-18:%[4]sF *S-1-5-32-544:%[4]sF *%[5]s:%[4]sF`, and take what was in it for known to others: %[6]w",
			path, who, off, inherit, me, ErrExposed)
	}
	everybody, err := windows.CreateWellKnownSid(windows.WinWorldSid)
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil || dacl == nil {
		return loose("everybody", everybody) // it has no list
	}
	var rights windows.ACCESS_MASK
	if forbidden&0o044 != 0 {
		rights |= reading
	}
	if forbidden&0o022 != 0 {
		rights |= writing
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return fmt.Errorf("read the access list of %s: %w", path, err)
		}
		if ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 || ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Mask&rights == 0 {
			continue
		}
		if sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart)); !trusted(sid) {
			return loose(nameOf(sid), sid)
		}
	}
	return nil
}

func nameOf(sid *windows.SID) string {
	name, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return sid.String()
	}
	if domain == "" {
		return name
	}
	return domain + `\` + name
}

// rename comes back when the new entry is on the disk.
func rename(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	if err := windows.MoveFileEx(f, t, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// Sync makes a folder's entries durable. Windows flushes no folder by itself:
// rename waits for the disk, and what is removed is in the file system's
// journal.
func Sync(string) error { return nil }
