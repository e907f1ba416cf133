package envoy

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tie has the system end a process with this one, however this one ends. untie
// is for when it has ended.
func tie(p *os.Process) (untie func(), err error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return func() {}, err
	}
	ends := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation, uintptr(unsafe.Pointer(&ends)), uint32(unsafe.Sizeof(ends)))
	if err == nil {
		var assigned error
		err = p.WithHandle(func(handle uintptr) { assigned = windows.AssignProcessToJobObject(job, windows.Handle(handle)) })
		err = errors.Join(err, assigned)
	}
	return func() { _ = windows.CloseHandle(job) }, err
}
