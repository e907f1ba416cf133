package identity

import "golang.org/x/sys/windows/registry"

// machineNames are what the machine says that it is: what its installation was
// given. Copies of a disk have it too, unless they are made by sysprep.
func machineNames() []string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return nil
	}
	defer k.Close()
	id, _, err := k.GetStringValue("MachineGuid")
	if err != nil {
		return nil
	}
	return []string{id}
}

// bootName is nothing: Windows counts boots by a clock that may be set.
func bootName() string { return "" }
